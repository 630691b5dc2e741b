"""The peers, a module for each product. Which there are follows from what is in this folder."""

import importlib
import pkgutil


def every(options):
    """All peers, in the order of their modules' `ORDER`."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    modules.sort(key=lambda module: getattr(module, "ORDER", 100))
    return [peer for module in modules if hasattr(module, "peers") for peer in module.peers(options)]
