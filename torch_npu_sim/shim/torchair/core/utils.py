"""The compiler's log."""

import logging

__all__ = ["logger"]

logger = logging.getLogger("torchair")
