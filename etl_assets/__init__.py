"""Published files, declared once, as Dagster assets: raw, validated, tabulated, published."""
