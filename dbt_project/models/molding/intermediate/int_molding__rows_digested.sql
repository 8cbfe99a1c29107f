-- One row per row of every published table, as a digest: what moved is told without a copy of it.
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
with digested as (

    {% for table, (name, key, measures) in keys.items() %}
        select
            '{{ name }}' as table_name,
            to_json(['{{ name }}', {{ key | join('::varchar, ') }}::varchar])::varchar as row_id,
            md5(held::varchar) as row_digest,
        from (
            select {{ all_at_15_digits(measures) }}  -- noqa: LT05, written by a macro
            from {{ ref('mart_table_' ~ table) }}
        ) as held  -- noqa: AL05, the whole row is digested
        {% if not loop.last %}union all{% endif %}
    {% endfor %}

)

select * from digested
