-- One row per body of the systems that were reported within the last day.
{{ galaxy_bodies(source('galaxy', 'bodies')) }}
