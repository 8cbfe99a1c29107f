-- One row per machine, shift and order: of two workbooks that tell of one, the later has the word.
with told as (

    select * from {{ ref('stg_molding__product_records') }}

),

newest as (

    {{ newest_by_key(
        'told',
        ['record_date', 'working_shift', 'machine_no', 'po_no'],
        ['file_key', 'source_row']
    ) }}

),

summed as (

    select
        *,
        coalesce(black_spot_pieces, 0) + coalesce(oil_deposit_pieces, 0)
        + coalesce(scratch_pieces, 0) + coalesce(crack_pieces, 0) + coalesce(sink_mark_pieces, 0)
        + coalesce(short_pieces, 0) + coalesce(burst_pieces, 0) + coalesce(bend_pieces, 0)
        + coalesce(stain_pieces, 0) + coalesce(other_ng_pieces, 0) as ng_pieces,
    from newest

)

select * from summed
