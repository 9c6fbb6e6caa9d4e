"""Conformance: whether a system behaves as an operator must be able to rely on."""

from vultus.evaluate.conformance.run import ConformanceCheck, ConformanceResult, run_conformance

__all__ = ["ConformanceCheck", "ConformanceResult", "run_conformance"]
