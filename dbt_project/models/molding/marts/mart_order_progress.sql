-- One row per order: the ordered, the produced and the remaining pieces, and if it is late.
-- An open order is late as of the last day in the reports, as today would make equal inputs differ.
with orders as (

    select * from {{ ref('int_molding__purchase_orders') }}

),

records as (

    select
        *,
        sum(good_pieces) over (
            partition by po_no
            order by record_date, working_shift, machine_no
        ) as cumulative_good_pieces,
    from {{ ref('int_molding__product_records') }}
    where po_no is not null

),

last_report as (

    select max(record_date) as recorded_until_date
    from {{ ref('int_molding__product_records') }}

),

production as (

    select
        records.po_no,
        sum(records.good_pieces)::bigint as produced_pieces,
        sum(records.ng_pieces)::bigint as ng_pieces,
        min(records.record_date) as first_made_date,
        max(records.record_date) as last_made_date,
        min(records.record_date) filter (
            where records.cumulative_good_pieces >= orders.ordered_pieces
        ) as completed_date,
    from records
    inner join orders on records.po_no = orders.po_no
    group by records.po_no

),

progress as (

    select
        orders.po_no,
        orders.item_code,
        orders.item_name,
        orders.received_date,
        orders.eta_date,
        orders.ordered_pieces,
        coalesce(production.produced_pieces, 0) as produced_pieces,
        coalesce(production.ng_pieces, 0) as ng_pieces,
        greatest(orders.ordered_pieces - coalesce(production.produced_pieces, 0), 0)
            as remaining_pieces,
        round(100.0 * coalesce(production.produced_pieces, 0) / nullif(orders.ordered_pieces, 0), 2)
            as progress_pct,
        case
            when production.po_no is null then 'not started'
            when coalesce(production.produced_pieces, 0) >= orders.ordered_pieces then 'complete'
            else 'in progress'
        end as state,
        production.first_made_date,
        production.last_made_date,
        production.completed_date,
        last_report.recorded_until_date,
        coalesce(production.completed_date, last_report.recorded_until_date) - orders.eta_date
            as days_over,
        orders.source_sha256,
    from orders
    cross join last_report
    left join production on orders.po_no = production.po_no

),

order_progress as (

    select
        * exclude (days_over, source_sha256),
        coalesce(days_over > 0, false) as is_late,
        if(days_over > 0, days_over, null) as days_late,
        source_sha256,
    from progress

)

select * from order_progress
