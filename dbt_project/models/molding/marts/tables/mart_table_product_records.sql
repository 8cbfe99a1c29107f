-- One row per machine, shift and order, with the names and types of the factory's own schema.
with records as (

    select * from {{ ref('int_molding__product_records') }}

),

factory_records as (

    select
        record_date::timestamp_ns as "recordDate",
        working_shift as "workingShift",
        machine_no as "machineNo",
        machine_code as "machineCode",
        item_code as "itemCode",
        item_name as "itemName",
        color_changed as "colorChanged",
        mold_changed as "moldChanged",
        machine_changed as "machineChanged",
        po_no as "poNote",
        mold_no as "moldNo",
        mold_shots as "moldShot",
        mold_cavities as "moldCavity",
        total_pieces as "itemTotalQuantity",
        good_pieces as "itemGoodQuantity",
        black_spot_pieces as "itemBlackSpot",
        oil_deposit_pieces as "itemOilDeposit",
        scratch_pieces as "itemScratch",
        crack_pieces as "itemCrack",
        sink_mark_pieces as "itemSinkMark",
        short_pieces as "itemShort",
        burst_pieces as "itemBurst",
        bend_pieces as "itemBend",
        stain_pieces as "itemStain",
        other_ng_pieces as "otherNG",
        plastic_resin as "plasticResin",
        plastic_resin_code as "plasticResinCode",
        plastic_resin_lot as "plasticResinLot",
        color_masterbatch as "colorMasterbatch",
        color_masterbatch_code as "colorMasterbatchCode",
        additive_masterbatch as "additiveMasterbatch",
        additive_masterbatch_code as "additiveMasterbatchCode",
    from records

)

select * from factory_records
