-- One row per order and workbook.
with source as (

    select
        *,
        -- A virtual column of DuckDB's read_parquet, which * leaves out.
        filename,
    from {{ source('molding', 'purchase_orders') }}

),

renamed as (

    select
        "poReceivedDate" as received_date,
        "poNo" as po_no,
        "poETA" as eta_date,
        "itemCode" as item_code,
        "itemName" as item_name,
        "itemQuantity" as ordered_pieces,
        "plasticResinCode" as plastic_resin_code,
        "plasticResin" as plastic_resin,
        "plasticResinQuantity" as plastic_resin_kg,
        "colorMasterbatchCode" as color_masterbatch_code,
        "colorMasterbatch" as color_masterbatch,
        "colorMasterbatchQuantity" as color_masterbatch_kg,
        "additiveMasterbatchCode" as additive_masterbatch_code,
        "additiveMasterbatch" as additive_masterbatch,
        "additiveMasterbatchQuantity" as additive_masterbatch_kg,
        parse_filename(filename, true) as file_key,
        source_sha256,
        source_row,
    from source

)

select * from renamed
