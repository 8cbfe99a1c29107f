-- One row per order: of two workbooks that tell of one, the later has the word.
with told as (

    select * from {{ ref('stg_molding__purchase_orders') }}

),

newest as (

    {{ newest_by_key('told', ['po_no'], ['file_key', 'source_row']) }}

)

select * from newest
