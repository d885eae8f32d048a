"""Looking at models: what is in them, and what it costs."""

from lamina.inspection.report import Report as Report
from lamina.inspection.report import Row as Row
from lamina.inspection.report import measure as measure
