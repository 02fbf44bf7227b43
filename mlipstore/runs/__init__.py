"""Run files: TOML with places, tables as typed values, settings of plugins."""
