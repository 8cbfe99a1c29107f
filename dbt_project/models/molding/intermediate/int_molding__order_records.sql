-- One row per production record of a known order, with the item and the materials of both.
with records as (

    select * from {{ ref('int_molding__product_records') }}

),

orders as (

    select * from {{ ref('int_molding__purchase_orders') }}

),

order_records as (

    select
        records.po_no,
        records.record_date,
        records.working_shift,
        records.machine_no,
        records.item_code,
        orders.item_code as ordered_item_code,
        records.plastic_resin_code,
        orders.plastic_resin_code as ordered_plastic_resin_code,
        records.color_masterbatch_code,
        orders.color_masterbatch_code as ordered_color_masterbatch_code,
    from records
    inner join orders on records.po_no = orders.po_no

)

select * from order_records
