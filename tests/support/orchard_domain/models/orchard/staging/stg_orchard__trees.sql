-- The rows of one source.
with source as (

    select * from {{ source('orchard', 'trees') }}

)

select tree_id, kind, planted_on, source_sha256 from source
