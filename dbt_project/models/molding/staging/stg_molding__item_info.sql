-- One row per item.
with source as (

    select * from {{ source('molding', 'item_info') }}

),

renamed as (

    select
        "itemCode" as item_code,
        "itemName" as item_name,
        source_sha256,
        source_row,
    from source

)

select * from renamed
