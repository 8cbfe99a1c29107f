-- One row per source: what stands of it. Ages are derived by the reader, against its own clock.
with health as (

    select * from {{ ref('stg_molding__source_health') }}

)

select * from health
