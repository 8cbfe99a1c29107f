-- One row per item and recipe of its materials.
with source as (

    select * from {{ source('molding', 'item_composition_summary') }}

),

renamed as (

    select
        "itemCode" as item_code,
        "itemName" as item_name,
        "plasticResinCode" as plastic_resin_code,
        "plasticResin" as plastic_resin,
        "plasticResinQuantity" as plastic_resin_kg_per_10000_pieces,
        "colorMasterbatchCode" as color_masterbatch_code,
        "colorMasterbatch" as color_masterbatch,
        "colorMasterbatchQuantity" as color_masterbatch_kg_per_10000_pieces,
        "additiveMasterbatchCode" as additive_masterbatch_code,
        "additiveMasterbatch" as additive_masterbatch,
        "additiveMasterbatchQuantity" as additive_masterbatch_kg_per_10000_pieces,
        source_sha256,
        source_row,
    from source

)

select * from renamed
