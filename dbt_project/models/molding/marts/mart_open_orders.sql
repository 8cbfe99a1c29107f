-- One row per order that is not complete, the next one due first, with what it still needs. Days
-- are counted from the last day in the reports.
with orders as (

    select * from {{ ref('mart_order_progress') }}
    where state != 'complete'

),

records as (

    select * from {{ ref('int_molding__product_records') }}

),

last_records as (

    select
        po_no,
        max_by(machine_no, (record_date, working_shift, source_row)) as last_machine_no,
        max_by(mold_no, (record_date, working_shift, source_row)) as last_mold_no,
    from records
    where po_no is not null
    group by po_no

),

molds as (

    select
        item_code,
        string_agg(mold_no, ', ' order by mold_no) as fitting_molds,
    from {{ ref('int_molding__item_molds') }}
    group by item_code

),

open_orders as (

    select
        orders.eta_date,
        orders.po_no,
        orders.state,
        orders.item_code,
        orders.item_name,
        orders.ordered_pieces,
        orders.produced_pieces,
        orders.remaining_pieces,
        orders.eta_date - orders.recorded_until_date as days_left,
        molds.fitting_molds,
        last_records.last_mold_no,
        last_records.last_machine_no,
        orders.last_made_date,
        orders.recorded_until_date,
    from orders
    left join molds on orders.item_code = molds.item_code
    left join last_records on orders.po_no = last_records.po_no

)

select * from open_orders
