"""What a device computes in hardware."""

import torch


def has_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies matrices in bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
