-- The rows of one source.
with source as (

    select * from {{ source('orchard', 'harvests') }}

)

select tree_id, year, kilograms, source_sha256 from source
