-- One row per machine, shift and order. If several workbooks report it, the latest one counts.
with workbook_rows as (

    select * from {{ ref('stg_molding__product_records') }}

),

newest_rows as (

    {{ newest_by_key(
        'workbook_rows',
        ['record_date', 'working_shift', 'machine_no', 'po_no'],
        ['file_key', 'source_row']
    ) }}

),

records_with_ng as (

    select
        *,
        coalesce(black_spot_pieces, 0) + coalesce(oil_deposit_pieces, 0)
        + coalesce(scratch_pieces, 0) + coalesce(crack_pieces, 0) + coalesce(sink_mark_pieces, 0)
        + coalesce(short_pieces, 0) + coalesce(burst_pieces, 0) + coalesce(bend_pieces, 0)
        + coalesce(stain_pieces, 0) + coalesce(other_ng_pieces, 0) as ng_pieces,
    from newest_rows

)

select * from records_with_ng
