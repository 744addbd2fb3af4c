"""Backends that compute the same views: a plain reference, compiled code for CPUs, torch for GPUs."""
