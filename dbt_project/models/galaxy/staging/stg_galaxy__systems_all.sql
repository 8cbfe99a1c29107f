-- One row per system that was ever reported; no rows while the source is disabled.
{{ galaxy_systems(source('galaxy', 'systems_all')) }}
