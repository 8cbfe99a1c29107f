-- One row per body of the populated systems.
{{ galaxy_bodies(source('galaxy', 'populated_bodies')) }}
