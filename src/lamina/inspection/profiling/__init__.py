"""Where the time of a step goes."""

from lamina.inspection.profiling.peak import machine_peak as machine_peak
from lamina.inspection.profiling.profiler import profile as profile
from lamina.inspection.profiling.result import Profile as Profile
from lamina.inspection.profiling.result import ProfileRow as ProfileRow
