-- One row: the run's logical time, and whether it reads what the published set was made from.
with source as (

    select * from {{ source('build', 'run') }}

),

renamed as (

    select
        as_of,
        as_of::date as as_of_date,
        is_code_changed,
        -- The scores of EPSS are shown and decide nothing. Null before the first publication.
        len(list_filter(changed_sources, lambda name: name != 'epss')) = 0
            as is_evidence_unchanged,
    from source

)

select * from renamed
