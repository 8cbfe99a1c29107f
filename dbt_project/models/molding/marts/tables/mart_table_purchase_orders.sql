-- One row per order, with the names and types of the factory's own schema.
with orders as (

    select * from {{ ref('int_molding__purchase_orders') }}

),

factory_orders as (

    select
        received_date::timestamp_ns as "poReceivedDate",
        po_no as "poNo",
        eta_date::timestamp_ns as "poETA",
        item_code as "itemCode",
        item_name as "itemName",
        ordered_pieces as "itemQuantity",
        plastic_resin_code as "plasticResinCode",
        plastic_resin as "plasticResin",
        plastic_resin_kg as "plasticResinQuantity",
        color_masterbatch_code as "colorMasterbatchCode",
        color_masterbatch as "colorMasterbatch",
        color_masterbatch_kg as "colorMasterbatchQuantity",
        additive_masterbatch_code as "additiveMasterbatchCode",
        additive_masterbatch as "additiveMasterbatch",
        additive_masterbatch_kg as "additiveMasterbatchQuantity",
    from orders

)

select * from factory_orders
