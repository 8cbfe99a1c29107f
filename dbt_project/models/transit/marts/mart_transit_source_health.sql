-- One row per source: its status. Times and no ages, which would differ in every run.
with health as (

    select * from {{ ref('stg_transit__source_health') }}

)

select * from health
