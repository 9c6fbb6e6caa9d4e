"""Reports: an evaluation as one page that needs nothing else, its plots as files, and all figures as JSON."""

from vultus.evaluate.report.people import pairs_of_people
from vultus.evaluate.report.system import Evaluated, system_facts
from vultus.evaluate.report.write import write_report

__all__ = ["Evaluated", "pairs_of_people", "system_facts", "write_report"]
