-- One row per order. If several workbooks list it, the latest one counts.
with workbook_rows as (

    select * from {{ ref('stg_molding__purchase_orders') }}

),

newest_rows as (

    {{ newest_by_key('workbook_rows', ['po_no'], ['file_key', 'source_row']) }}

)

select * from newest_rows
