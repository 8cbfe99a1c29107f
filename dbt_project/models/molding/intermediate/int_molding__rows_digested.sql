-- One row per row of each published table, as a digest: enough to see that a row changed, without a
-- copy of it. `keys` has, by model: the table's name, its business key, and the measures to round.
{%- set masterbatches = ['"colorMasterbatchQuantity"', '"additiveMasterbatchQuantity"'] %}
{%- set keys = {
    'product_records': [
        'productRecords',
        ['"recordDate"', '"workingShift"', '"machineNo"', '"poNote"'],
        [],
    ],
    'purchase_orders': [
        'purchaseOrders', ['"poNo"'], ['"plasticResinQuantity"'] + masterbatches,
    ],
    'item_info': ['itemInfo', ['"itemCode"'], []],
    'mold_info': ['moldInfo', ['"moldNo"'], ['"itemsWeight"', '"runnerWeight"']],
    'machine_info': ['machineInfo', ['"machineNo"'], []],
    'resin_info': ['resinInfo', ['"resinCode"'], []],
    'mold_specification_summary': ['moldSpecificationSummary', ['"itemCode"'], []],
    'item_composition_summary': [
        'itemCompositionSummary',
        ['"itemCode"', '"plasticResinCode"', '"colorMasterbatchCode"', '"additiveMasterbatchCode"'],
        ['"plasticResinQuantity"'] + masterbatches,
    ],
} %}
with row_digests as (

    {% for table, (name, key, measures) in keys.items() %}
        select
            '{{ name }}' as table_name,
            to_json(['{{ name }}', {{ key | join('::varchar, ') }}::varchar])::varchar as row_id,
            md5(table_row::varchar) as row_digest,
        from (
            select {{ all_at_15_digits(measures) }}  -- noqa: LT05, written by a macro
            from {{ ref('mart_table_' ~ table) }}
        ) as table_row  -- noqa: AL05, the whole row is digested
        {% if not loop.last %}union all{% endif %}
    {% endfor %}

)

select * from row_digests
