-- One row per order: what is wanted, what was made, what remains, and whether it is late. Late is
-- measured against the last day that the reports tell of, not against today.
with orders as (

    select * from {{ ref('int_molding__purchase_orders') }}

),

records as (

    select
        *,
        sum(good_pieces) over (
            partition by po_no
            order by record_date, working_shift, machine_no
        ) as good_so_far,
    from {{ ref('int_molding__product_records') }}
    where po_no is not null

),

horizon as (

    select max(record_date) as recorded_until_date from {{ ref('int_molding__product_records') }}

),

made as (

    select
        records.po_no,
        sum(records.good_pieces)::bigint as produced_pieces,
        sum(records.ng_pieces)::bigint as ng_pieces,
        min(records.record_date) as first_made_date,
        max(records.record_date) as last_made_date,
        min(records.record_date) filter (where records.good_so_far >= orders.ordered_pieces)
            as completed_date,
    from records
    inner join orders on records.po_no = orders.po_no
    group by records.po_no

),

measured as (

    select
        orders.po_no,
        orders.item_code,
        orders.item_name,
        orders.received_date,
        orders.eta_date,
        orders.ordered_pieces,
        coalesce(made.produced_pieces, 0) as produced_pieces,
        coalesce(made.ng_pieces, 0) as ng_pieces,
        greatest(orders.ordered_pieces - coalesce(made.produced_pieces, 0), 0) as remaining_pieces,
        round(100.0 * coalesce(made.produced_pieces, 0) / nullif(orders.ordered_pieces, 0), 2)
            as progress_pct,
        case
            when made.po_no is null then 'not started'
            when coalesce(made.produced_pieces, 0) >= orders.ordered_pieces then 'complete'
            else 'in progress'
        end as state,
        made.first_made_date,
        made.last_made_date,
        made.completed_date,
        horizon.recorded_until_date,
        coalesce(made.completed_date, horizon.recorded_until_date) - orders.eta_date as days_over,
        orders.source_sha256,
    from orders
    cross join horizon
    left join made on orders.po_no = made.po_no

),

judged as (

    select
        * exclude (days_over, source_sha256),
        coalesce(days_over > 0, false) as is_late,
        if(days_over > 0, days_over, null) as days_late,
        source_sha256,
    from measured

)

select * from judged
