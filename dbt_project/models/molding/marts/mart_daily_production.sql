-- One row per day: the production of all machines.
with production as (

    select * from {{ ref('mart_production') }}

),

daily_totals as (

    select
        record_date,
        count(distinct machine_no) as machines_count,
        sum(total_pieces)::bigint as total_pieces,
        sum(good_pieces)::bigint as good_pieces,
        sum(ng_pieces)::bigint as ng_pieces,
    from production
    group by record_date

),

daily_production as (

    select
        *,
        round(100.0 * good_pieces / nullif(total_pieces, 0), 2) as yield_pct,
    from daily_totals

)

select * from daily_production
