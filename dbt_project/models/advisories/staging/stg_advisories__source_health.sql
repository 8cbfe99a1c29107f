-- One row per source of the domain.
{{ source_health(source('build', 'sources')) }}
