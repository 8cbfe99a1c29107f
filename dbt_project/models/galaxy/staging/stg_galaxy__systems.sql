-- One row per system that was reported within the last day.
{{ galaxy_systems(source('galaxy', 'systems')) }}
