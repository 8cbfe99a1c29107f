-- One row per system that was ever reported; none while the source is switched off.
{{ galaxy_systems(source('galaxy', 'systems_all')) }}
