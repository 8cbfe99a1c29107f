-- The rows of one source.
with source as (

    select * from {{ source('orchard', 'notes') }}

)

select tree_id, note, source_sha256 from source
