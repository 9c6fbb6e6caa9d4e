"""The service: vultus over HTTP, for a team on its own machine. Needs the extra `vultus[serve]`."""

from vultus.service.app import create_app
from vultus.service.chain import AuditCheck, verify_log
from vultus.service.pad import AttackDetector, PadVerdict
from vultus.service.settings import Settings, load_settings

__all__ = ["AttackDetector", "AuditCheck", "PadVerdict", "Settings", "create_app", "load_settings", "verify_log"]
