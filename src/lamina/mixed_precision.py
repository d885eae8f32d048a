"""The precision in which layers made from now on compute, in Keras's words."""

from lamina.dtypes import DTypePolicy as DTypePolicy
from lamina.dtypes import global_policy as dtype_policy
from lamina.dtypes import global_policy as global_policy
from lamina.dtypes import set_global_policy as set_dtype_policy
from lamina.dtypes import set_global_policy as set_global_policy

Policy = DTypePolicy

__all__ = ["DTypePolicy", "Policy", "dtype_policy", "global_policy", "set_dtype_policy", "set_global_policy"]
