"""Registration of converters to CANN's graphs: accepted, and never used."""

from torchair.unused import keep

__all__ = ["declare_supported", "register_fx_node_ge_converter"]

declare_supported = keep
register_fx_node_ge_converter = keep
