-- One row per machine, shift, order and workbook.
with source as (

    select
        *,
        -- A virtual column of DuckDB's read_parquet, which * leaves out.
        filename,
    from {{ source('molding', 'product_records') }}

),

renamed as (

    select
        "recordDate" as record_date,
        "workingShift" as working_shift,
        "machineNo" as machine_no,
        "machineCode" as machine_code,
        "itemCode" as item_code,
        "itemName" as item_name,
        "colorChanged" as color_changed,
        "moldChanged" as mold_changed,
        "machineChanged" as machine_changed,
        "poNote" as po_no,
        "moldNo" as mold_no,
        "moldShot" as mold_shots,
        "moldCavity" as mold_cavities,
        "itemTotalQuantity" as total_pieces,
        "itemGoodQuantity" as good_pieces,
        "itemBlackSpot" as black_spot_pieces,
        "itemOilDeposit" as oil_deposit_pieces,
        "itemScratch" as scratch_pieces,
        "itemCrack" as crack_pieces,
        "itemSinkMark" as sink_mark_pieces,
        "itemShort" as short_pieces,
        "itemBurst" as burst_pieces,
        "itemBend" as bend_pieces,
        "itemStain" as stain_pieces,
        "otherNG" as other_ng_pieces,
        "plasticResin" as plastic_resin,
        "plasticResinCode" as plastic_resin_code,
        "plasticResinLot" as plastic_resin_lot,
        "colorMasterbatch" as color_masterbatch,
        "colorMasterbatchCode" as color_masterbatch_code,
        "additiveMasterbatch" as additive_masterbatch,
        "additiveMasterbatchCode" as additive_masterbatch_code,
        parse_filename(filename, true) as file_key,
        source_sha256,
        source_row,
    from source

)

select * from renamed
