-- One row: the run's logical time.
with source as (

    select * from {{ source('build', 'run') }}

),

renamed as (

    select
        as_of,
        as_of::date as as_of_date,
    from source

)

select * from renamed
