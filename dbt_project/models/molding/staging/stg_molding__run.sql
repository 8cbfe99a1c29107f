-- One row: the run's logical time.
with source as (

    select * from {{ source('build', 'run') }}

),

renamed as (

    select as_of from source

)

select * from renamed
