{#- The distance in metres between two points on a sphere with the mean radius of the Earth. -#}
{% macro haversine_m(longitude_a, latitude_a, longitude_b, latitude_b) -%}
2 * 6371009 * asin(sqrt(
    power(sin(radians({{ latitude_b }} - {{ latitude_a }}) / 2), 2)
    + cos(radians({{ latitude_a }})) * cos(radians({{ latitude_b }}))
    * power(sin(radians({{ longitude_b }} - {{ longitude_a }}) / 2), 2)
))
{%- endmacro %}
