-- One row per item, with the molds that can make it.
with source as (

    select * from {{ source('molding', 'mold_specification_summary') }}

),

renamed as (

    select
        "itemCode" as item_code,
        "itemName" as item_name,
        "itemType" as item_type,
        "moldNum" as molds_count,
        "moldList" as mold_list,
        source_sha256,
        source_row,
    from source

)

select * from renamed
