-- One row per day: what the whole hall made.
with production as (

    select * from {{ ref('mart_production') }}

),

summed as (

    select
        record_date,
        count(distinct machine_no) as machines_count,
        sum(total_pieces)::bigint as total_pieces,
        sum(good_pieces)::bigint as good_pieces,
        sum(ng_pieces)::bigint as ng_pieces,
    from production
    group by record_date

),

rated as (

    select
        *,
        round(100.0 * good_pieces / nullif(total_pieces, 0), 2) as yield_pct,
    from summed

)

select * from rated
