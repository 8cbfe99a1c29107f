-- One row per cause of rejected pieces.
with production as (

    select * from {{ ref('mart_production') }}

),

cause_totals as (

    unpivot (
        select
            sum(black_spot_pieces)::bigint as black_spot,
            sum(oil_deposit_pieces)::bigint as oil_deposit,
            sum(scratch_pieces)::bigint as scratch,
            sum(crack_pieces)::bigint as crack,
            sum(sink_mark_pieces)::bigint as sink_mark,
            sum(short_pieces)::bigint as short,
            sum(burst_pieces)::bigint as burst,
            sum(bend_pieces)::bigint as bend,
            sum(stain_pieces)::bigint as stain,
            sum(other_ng_pieces)::bigint as other,
        from production
    )
    on columns(*)
    into name cause value pieces

),

cause_shares as (

    select
        row_number() over (order by pieces desc, cause) as rank,
        replace(cause, '_', ' ') as cause,
        pieces,
        round(100.0 * pieces / nullif(sum(pieces) over (), 0), 2)::double as share_pct,
    from cause_totals

)

select * from cause_shares
