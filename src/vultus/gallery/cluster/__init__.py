"""Unlabelled faces by person: grouping, additions, and decisions of people that later runs keep."""

from vultus.gallery.cluster.additions import add
from vultus.gallery.cluster.decisions import Decisions
from vultus.gallery.cluster.grouping import group
from vultus.gallery.cluster.groups import Groups
from vultus.gallery.cluster.scale import threshold_for

__all__ = ["Decisions", "Groups", "add", "group", "threshold_for"]
