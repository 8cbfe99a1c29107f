-- One row per resin or masterbatch.
with source as (

    select * from {{ source('molding', 'resin_info') }}

),

renamed as (

    select
        "resinCode" as resin_code,
        "resinName" as resin_name,
        "resinType" as resin_type,
        "colorType" as color_type,
        source_sha256,
        source_row,
    from source

)

select * from renamed
