-- One row per tree and period, as last published.
select * from {{ source('build', 'history') }}
