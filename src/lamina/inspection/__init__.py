"""Looking at models: what is in them, and what it costs."""

from lamina.inspection.drawing import notebook_html as notebook_html
from lamina.inspection.drawing import plot_model as plot_model
from lamina.inspection.measuring import measure as measure
from lamina.inspection.printing import print_report as print_report
from lamina.inspection.printing import report_text as report_text
from lamina.inspection.profiling import Profile as Profile
from lamina.inspection.profiling import ProfileRow as ProfileRow
from lamina.inspection.profiling import machine_peak as machine_peak
from lamina.inspection.profiling import profile as profile
from lamina.inspection.readable import Report as Report
from lamina.inspection.report import Failure as Failure
from lamina.inspection.report import Link as Link
from lamina.inspection.report import Row as Row
from lamina.inspection.summary import summary as summary
