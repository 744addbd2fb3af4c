"""ssl-losses: self-supervised losses, exact on one rank and on many. The only dependency is torch.

Errors are the same for all losses: a ``ValueError`` of one line, with the value and the remedy, before anything is computed.

- Embeddings that are not floating point, or shapes that do not fit the docstring or each other.
- Fewer views than the loss needs, or fewer samples in the global batch (:class:`ssl_losses.checks.BatchSizeError`).
- An option out of range: a temperature below 1e-6, a weight below 0, a share outside 0 to 1, a count below 1, or any other
  limit in the docstring of the loss. A module raises in its constructor.
- Ranks with batches of different shapes. Every rank raises, even if only one has an error, so that no rank waits for another.

Values are not checked, because a check would wait for the device: NaN or infinite embeddings give a loss that is not finite.
"""

from ssl_losses.alignment import AlignmentLoss, alignment
from ssl_losses.barlow_twins import BarlowTwinsLoss, barlow_twins
from ssl_losses.clip import CLIPLoss, clip
from ssl_losses.components.accumulation import AccumulatedState, accumulate_updates
from ssl_losses.dcl import DCLLoss, DCLWLoss, dcl, dclw
from ssl_losses.deepcluster_v2 import DeepClusterV2Loss, deepcluster_v2
from ssl_losses.dino import DINOLoss, dino
from ssl_losses.directclr import DirectCLRLoss, directclr
from ssl_losses.emp_ssl import EMPSSLLoss, emp_ssl
from ssl_losses.frossl import FroSSLLoss, frossl
from ssl_losses.grad_cache import grad_cache
from ssl_losses.gram_anchoring import GramAnchoringLoss, gram_anchoring
from ssl_losses.ibot import IBOTLoss, ibot
from ssl_losses.info_nce import InfoNCELoss, info_nce
from ssl_losses.koleo import KoLeoLoss, koleo
from ssl_losses.macl import MACLLoss, macl
from ssl_losses.masked_feature_regression import MaskedFeatureRegressionLoss, masked_feature_regression
from ssl_losses.masked_reconstruction import MaskedReconstructionLoss, masked_reconstruction
from ssl_losses.mmcr import MMCRLoss, mmcr
from ssl_losses.moco_v3 import MoCoV3Loss, moco_v3
from ssl_losses.msn import MSNLoss, PMSNLoss, msn, pmsn
from ssl_losses.negative_cosine_similarity import NegativeCosineSimilarityLoss, negative_cosine_similarity
from ssl_losses.nnclr import NNCLRLoss, nnclr
from ssl_losses.nt_xent import NTXentLoss, nt_xent
from ssl_losses.ops.patches import patchify
from ssl_losses.ops.sinkhorn import sinkhorn
from ssl_losses.registry import LossRegistry
from ssl_losses.ressl import ReSSLLoss, ressl
from ssl_losses.siglip import SigLIPLoss, siglip
from ssl_losses.sigreg import SIGRegLoss, sigreg
from ssl_losses.supcon import SupConLoss, supcon
from ssl_losses.swav import SwAVLoss, swav
from ssl_losses.tico import TiCoLoss, tico
from ssl_losses.uniformity import UniformityLoss, uniformity
from ssl_losses.vibcreg import VIbCRegLoss, vibcreg
from ssl_losses.vicreg import VICRegLoss, vicreg
from ssl_losses.vicregl import VICRegLLoss, vicregl
from ssl_losses.visreg import VISRegLoss, visreg
from ssl_losses.w_mse import WMSELoss, w_mse

# name of the function -> its module
LOSSES = LossRegistry(
    {
        "alignment": AlignmentLoss,
        "barlow_twins": BarlowTwinsLoss,
        "clip": CLIPLoss,
        "dcl": DCLLoss,
        "dclw": DCLWLoss,
        "deepcluster_v2": DeepClusterV2Loss,
        "dino": DINOLoss,
        "directclr": DirectCLRLoss,
        "emp_ssl": EMPSSLLoss,
        "frossl": FroSSLLoss,
        "gram_anchoring": GramAnchoringLoss,
        "ibot": IBOTLoss,
        "info_nce": InfoNCELoss,
        "koleo": KoLeoLoss,
        "macl": MACLLoss,
        "masked_feature_regression": MaskedFeatureRegressionLoss,
        "masked_reconstruction": MaskedReconstructionLoss,
        "mmcr": MMCRLoss,
        "moco_v3": MoCoV3Loss,
        "msn": MSNLoss,
        "negative_cosine_similarity": NegativeCosineSimilarityLoss,
        "nnclr": NNCLRLoss,
        "nt_xent": NTXentLoss,
        "pmsn": PMSNLoss,
        "ressl": ReSSLLoss,
        "siglip": SigLIPLoss,
        "sigreg": SIGRegLoss,
        "supcon": SupConLoss,
        "swav": SwAVLoss,
        "tico": TiCoLoss,
        "uniformity": UniformityLoss,
        "vibcreg": VIbCRegLoss,
        "vicreg": VICRegLoss,
        "vicregl": VICRegLLoss,
        "visreg": VISRegLoss,
        "w_mse": WMSELoss,
    }
)

# fmt: off
__all__ = [
    "LOSSES", "AccumulatedState", "AlignmentLoss", "BarlowTwinsLoss", "CLIPLoss", "DCLLoss", "DCLWLoss", "DINOLoss",
    "DeepClusterV2Loss", "DirectCLRLoss", "EMPSSLLoss", "FroSSLLoss", "GramAnchoringLoss", "IBOTLoss", "InfoNCELoss",
    "KoLeoLoss", "MACLLoss", "MMCRLoss", "MSNLoss", "MaskedFeatureRegressionLoss", "MaskedReconstructionLoss",
    "MoCoV3Loss", "NNCLRLoss", "NTXentLoss", "NegativeCosineSimilarityLoss", "PMSNLoss", "ReSSLLoss", "SIGRegLoss",
    "SigLIPLoss", "SupConLoss", "SwAVLoss", "TiCoLoss", "UniformityLoss", "VICRegLLoss", "VICRegLoss", "VISRegLoss",
    "VIbCRegLoss", "WMSELoss", "accumulate_updates", "alignment", "barlow_twins", "clip", "dcl", "dclw",
    "deepcluster_v2", "dino", "directclr", "emp_ssl", "frossl", "grad_cache", "gram_anchoring", "ibot", "info_nce",
    "koleo", "macl", "masked_feature_regression", "masked_reconstruction", "mmcr", "moco_v3", "msn",
    "negative_cosine_similarity", "nnclr", "nt_xent", "patchify", "pmsn", "ressl", "siglip", "sigreg", "sinkhorn",
    "supcon", "swav", "tico", "uniformity", "vibcreg", "vicreg", "vicregl", "visreg", "w_mse",
]
# fmt: on
