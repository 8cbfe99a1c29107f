-- One row: the run's logical time.
select as_of from {{ source('build', 'run') }}
