-- One row per day, machine, mold and item: the pieces made, and those rejected by cause.
with records as (

    select * from {{ ref('int_molding__product_records') }}
    where item_code is not null

),

production as (

    select
        record_date,
        machine_no,
        mold_no,
        item_code,
        count(distinct working_shift) as shifts_count,
        sum(mold_shots)::bigint as mold_shots,
        sum(total_pieces)::bigint as total_pieces,
        sum(good_pieces)::bigint as good_pieces,
        sum(ng_pieces)::bigint as ng_pieces,
        sum(coalesce(black_spot_pieces, 0))::bigint as black_spot_pieces,
        sum(coalesce(oil_deposit_pieces, 0))::bigint as oil_deposit_pieces,
        sum(coalesce(scratch_pieces, 0))::bigint as scratch_pieces,
        sum(coalesce(crack_pieces, 0))::bigint as crack_pieces,
        sum(coalesce(sink_mark_pieces, 0))::bigint as sink_mark_pieces,
        sum(coalesce(short_pieces, 0))::bigint as short_pieces,
        sum(coalesce(burst_pieces, 0))::bigint as burst_pieces,
        sum(coalesce(bend_pieces, 0))::bigint as bend_pieces,
        sum(coalesce(stain_pieces, 0))::bigint as stain_pieces,
        sum(coalesce(other_ng_pieces, 0))::bigint as other_ng_pieces,
    from records
    group by record_date, machine_no, mold_no, item_code

),

production_with_yield as (

    select
        *,
        round(100.0 * good_pieces / nullif(total_pieces, 0), 2) as yield_pct,
    from production

)

select * from production_with_yield
